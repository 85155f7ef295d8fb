use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::api::IssuerKind;

/// A page with at least one series of each metric.
fn full(format: Format) -> String {
    struct Two;
    impl EachCredential for Two {
        fn each(&self, see: &mut dyn FnMut(&OneCredential<'_>)) {
            see(&OneCredential {
                namespace: "secops",
                name: "a",
                ready: true,
                expires_at: Some(1_800_003_600),
                renew_at: Some(1_800_001_800),
                min_lifetime: Some(900),
                client_expires_at: Some(1_900_000_000),
                client_expiring: true,
            });
            see(&OneCredential {
                namespace: "secops",
                name: "b",
                ..OneCredential::default()
            });
        }

        fn each_info(&self, see: &mut dyn FnMut(&OneCredential<'_>, &Info<'_>)) {
            let info = Info {
                issuer_kind: "ClusterTokenIssuer",
                issuer: "contoso",
                api: "MicrosoftGraph",
                secret: "token",
            };
            self.each(&mut |one| see(one, &info));
        }

        fn each_rotation(&self, see: &mut dyn FnMut([&str; 2], i64)) {
            see(["secops", "defender"], 1_900_000_000);
        }
    }
    let metrics = Metrics::default();
    let issuer = cluster("contoso");
    metrics.expect(GrantKey::RefreshToken, &issuer);
    metrics.record_token_request(
        GrantKey::ClientCredentials,
        &issuer,
        "ok",
        Duration::from_millis(15),
    );
    metrics.reconciled("renewed", Duration::from_millis(20));
    metrics.reconciled("renewed", Duration::from_mins(5));
    metrics.called("get_secret", "ok", Some(Duration::from_millis(3)));
    metrics.called("get_secret", "unwanted", None);
    metrics.called("get_secret", "unavailable", Some(Duration::from_secs(20)));
    metrics.replaced(-20.0);
    metrics.replaced(1000.0);
    metrics.renewed(0.5);
    let snapshot = Snapshot {
        leads: true,
        work: Some(Work {
            overdue_seconds: 3,
            watches: [("secrets", 1_800_000_000)].into(),
            ..Work::default()
        }),
        objects: Some(Objects {
            ready: [2, 1, 0],
            not_ready: [("ClientSecretMissing", 1)].into(),
            failing: [("ClientSecretMissing", 1)].into(),
            soonest_expiry: Some(1_800_003_600),
            issuers: [[0, 0, 0], [4, 5, 6]],
            ..Objects::default()
        }),
        credentials: Some(Box::new(Two)),
    };
    metrics.encode(&snapshot, format)
}

fn cluster(name: &str) -> IssuerId {
    IssuerId::Object(
        IssuerKind::ClusterTokenIssuer,
        String::new(),
        name.to_owned(),
    )
}

/// Names and labels of the series of a page, with the number of their occurrences.
fn series(page: &str) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        *all.entry(series).or_default() += 1;
    }
    all
}

#[test]
fn names_and_labels_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in TABLE {
        let name = metric.name;
        assert!(names.insert(name), "{name} is listed twice");
        assert!(
            name.starts_with("apicred_") || name.starts_with("process_"),
            "{name}"
        );
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(plain(name), "{name}");
        let counter = metric.kind == Kind::Counter;
        assert_eq!(counter, name.ends_with("_total"), "{name}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let unit = ["seconds", "bytes"].into_iter();
        let mut unit = unit.filter(|unit| stem.ends_with(&format!("_{unit}")));
        assert_eq!(metric.unit, unit.next(), "{name}");
        for label in metric.labels {
            assert!(plain(label.name) && label.name != "le", "{name}");
        }
        assert!(
            metric.help.len() > 10 && !metric.help.ends_with('.'),
            "{name}"
        );
        assert!(!metric.help.contains(['\n', '\\', '|']), "{name}");
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(bounds.is_sorted(), "{name}");
        }
    }
}

#[test]
fn labels_are_enums_but_the_issuer_and_what_must_be_enabled() {
    for metric in TABLE {
        for label in metric.labels {
            match label.values {
                Values::Fixed(list) => {
                    let distinct: BTreeSet<_> = list.iter().collect();
                    assert_eq!(distinct.len(), list.len(), "{}", metric.name);
                }
                Values::Reasons | Values::Build => {}
                Values::Issuers => assert_eq!(metric.name, "apicred_token_requests_total"),
                Values::Names => assert_eq!(metric.scope, Scope::Credential, "{}", metric.name),
            }
        }
    }
    // The limit of the one exception.
    let metrics = Metrics::default();
    for n in 0..3 * MOST_ISSUERS {
        let issuer = cluster(&format!("issuer-{n}"));
        metrics.record_token_request(
            GrantKey::ClientCredentials,
            &issuer,
            "ok",
            Duration::default(),
        );
    }
    for issuer in [
        IssuerId::Inline("https://login.example/tenant".to_owned()),
        IssuerId::Object(IssuerKind::TokenIssuer, "ns".to_owned(), "mine".to_owned()),
    ] {
        metrics.record_token_request(
            GrantKey::ClientCredentials,
            &issuer,
            "denied",
            Duration::default(),
        );
    }
    let snapshot = Snapshot {
        work: Some(Work::default()),
        ..Snapshot::default()
    };
    let page = metrics.encode(&snapshot, Format::Prometheus);
    let issuers: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("apicred_token_requests_total{")?
                .split("issuer=\"")
                .nth(1)?
                .split('"')
                .next()
        })
        .collect();
    assert_eq!(issuers.len(), MOST_ISSUERS + 3, "{issuers:?}");
    let others = 2 * MOST_ISSUERS;
    for line in [
        format!(
            "apicred_token_requests_total{{grant=\"ClientCredentials\",result=\"ok\",issuer=\"other\"}} {others}\n"
        ),
        "apicred_token_requests_total{grant=\"ClientCredentials\",result=\"denied\",issuer=\"inline\"} 1\n".to_owned(),
        "apicred_token_requests_total{grant=\"ClientCredentials\",result=\"denied\",issuer=\"namespaced\"} 1\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line}");
    }
    assert!(!page.contains("login.example") && !page.contains("mine"));
}

#[test]
fn a_page_has_each_metric_of_the_table_and_no_series_twice() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let page = full(format);
        for (series, times) in series(&page) {
            assert_eq!(times, 1, "{series}");
        }
        for metric in TABLE {
            let name = match format {
                Format::Prometheus => metric.name,
                Format::OpenMetrics => metric.name.strip_suffix("_total").unwrap_or(metric.name),
            };
            let kind = metric.kind.as_str();
            let line = format!("# TYPE {name} {kind}\n");
            assert_eq!(page.matches(&line).count(), 1, "{line}");
            let unit = metric
                .unit
                .map(|unit| format!("# UNIT {name} {unit}\n"))
                .filter(|_| format == Format::OpenMetrics);
            assert!(unit.is_none_or(|unit| page.contains(&unit)), "{name}");
            let has = page
                .lines()
                .any(|line| line.starts_with(metric.name) && !line.starts_with('#'));
            // A machine without a limit of file descriptors has no such value.
            assert!(has || metric.name == "process_max_fds", "{name}");
        }
        assert_eq!(
            page.ends_with("# EOF\n"),
            format == Format::OpenMetrics,
            "{format:?}"
        );
        assert_eq!(page.contains("# UNIT"), format == Format::OpenMetrics);
    }
}

#[test]
fn series_of_enums_exist_from_the_start_at_zero() {
    let snapshot = Snapshot {
        leads: true,
        work: Some(Work::default()),
        objects: Some(Objects::default()),
        credentials: None,
    };
    let page = Metrics::default().encode(&snapshot, Format::Prometheus);
    for metric in TABLE.iter().filter(|m| m.scope == Scope::Leader) {
        let Some(count) = metric.combinations() else {
            continue;
        };
        if [
            "apicred_watch_last_event_timestamp_seconds",
            "apicred_soonest_token_expiry_timestamp_seconds",
        ]
        .contains(&metric.name)
        {
            continue;
        }
        let ending = match metric.kind {
            Kind::Histogram(_) => "_count",
            Kind::Counter | Kind::Gauge => "",
        };
        let name = format!("{}{ending}", metric.name);
        let own: Vec<&str> = page
            .lines()
            .filter(|l| l.split(['{', ' ']).next() == Some(&name))
            .collect();
        assert_eq!(own.len(), count, "{name}");
        assert!(own.iter().all(|line| line.ends_with(" 0")), "{own:?}");
    }
}

#[test]
fn a_standby_exports_only_metrics_of_the_process() {
    let page = Metrics::default().encode(&Snapshot::default(), Format::Prometheus);
    assert!(page.contains("\napicred_leader 0\n"), "{page}");
    let build = format!(
        "apicred_build_info{{version=\"{}\",revision=\"{REVISION}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(page.contains(&build), "{page}");
    let named: BTreeSet<&str> = series(&page)
        .into_keys()
        .filter_map(|series| series.split('{').next())
        .collect();
    for name in named {
        let metric = TABLE.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!(metric.scope, Scope::Process, "{name}");
    }
}

#[test]
fn a_histogram_counts_up_to_each_bound() {
    let page = full(Format::Prometheus);
    for line in [
        "apicred_publish_margin_seconds_bucket{le=\"0.0\"} 1",
        "apicred_publish_margin_seconds_bucket{le=\"900.0\"} 1",
        "apicred_publish_margin_seconds_bucket{le=\"1200.0\"} 2",
        "apicred_publish_margin_seconds_bucket{le=\"+Inf\"} 2",
        "apicred_publish_margin_seconds_sum 1000.0",
        "apicred_publish_margin_seconds_count 2",
        "apicred_reconcile_duration_seconds_bucket{outcome=\"renewed\",le=\"0.02\"} 1",
        "apicred_reconcile_duration_seconds_bucket{outcome=\"renewed\",le=\"75.0\"} 1",
        "apicred_reconcile_duration_seconds_bucket{outcome=\"renewed\",le=\"+Inf\"} 2",
        "apicred_kubernetes_requests_total{operation=\"get_secret\",result=\"unwanted\"} 1",
        "apicred_kubernetes_request_duration_seconds_count{operation=\"get_secret\",result=\"ok\"} 1",
        "apicred_kubernetes_request_duration_seconds_sum{operation=\"get_secret\",result=\"failed\"} 20.0",
        "apicred_kubernetes_request_duration_seconds_count{operation=\"patch_secret\",result=\"failed\"} 0",
        "apicred_token_requests_total{grant=\"ClientCredentials\",result=\"ok\",issuer=\"contoso\"} 1",
        "apicred_token_requests_total{grant=\"RefreshToken\",result=\"throttled\",issuer=\"contoso\"} 0",
        "apicred_issuers{kind=\"ClusterTokenIssuer\",ready=\"false\"} 5",
        "apicred_token_expiry_timestamp_seconds{namespace=\"secops\",name=\"a\"} 1800003600",
        "apicred_credential_ready{namespace=\"secops\",name=\"b\"} 0",
        "apicred_credential_info{namespace=\"secops\",name=\"a\",issuer_kind=\"ClusterTokenIssuer\",issuer=\"contoso\",api=\"MicrosoftGraph\",secret=\"token\"} 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    // A value that is not known has no series.
    assert!(
        !page.contains("apicred_token_expiry_timestamp_seconds{namespace=\"secops\",name=\"b\"}")
    );
}

#[test]
fn the_page_of_the_docs_has_each_metric_and_each_label_value() {
    let page = reference::page();
    for metric in TABLE {
        let row = format!("| `{}` | {} |", metric.name, metric.kind.as_str());
        assert!(page.contains(&row), "{row}");
        for value in metric.labels.iter().flat_map(Label::list) {
            assert!(page.contains(&format!("`{value}`")), "{value}");
        }
    }
}
