//! Properties of every history of a refresh token.

use super::*;
use crate::fixtures::any_class;

proptest! {
    /// The promise: if an issuer treats a second use as theft, a token that was sent is not sent again outside the window, whatever else is noted.
    #[test]
    fn nothing_is_sent_twice_where_that_is_theft(
        since in -100_000_i64..100_000, rotates in prop::option::of(any::<bool>()), dead in any::<bool>(), window in 0_i64..600,
        last_try in any::<bool>(), until in prop::option::of(-1000_i64..1000), spent in any::<bool>(),
    ) {
        let mut noted = notes(Some(since), rotates, dead);
        noted.mark = Some(Mark::new(at(since), "other-1", last_try));
        noted.spent = if spent { vec![Spent::new("token", at(since), false)] } else { Vec::new() };
        let none = Remembered::default();
        let attempt = Attempt { published_until: until.map(at), ..attempt(&none) };
        let step = before(&noted, rule(Some(Reuse::Never), window), &attempt, at(0));
        if matches!(step, Step::Send { .. }) {
            prop_assert!(since.abs() <= window && !dead && !spent && !last_try);
        }
    }

    /// A refresh token counts as unused only with evidence: nothing was sent, or the endpoint itself refused or redirected before it granted.
    #[test]
    fn a_refresh_token_is_unused_by_evidence_alone(
        status in prop::option::of(100_u16..600), class in any_class(), not_sent in any::<bool>(), about_client in any::<bool>(),
        error in prop::option::of(prop::sample::select(vec!["invalid_grant", "invalid_request", "invalid_client", "server_error", "temporarily_unavailable", "gateway"])),
        wait in prop::option::of(0_u64..100),
    ) {
        let token_error = TokenError {
            not_sent, about_client,
            retry_after: wait.map(std::time::Duration::from_secs),
            ..token_error(status, class, error)
        };
        let refused = status.is_some_and(|s| (400..440).contains(&s) && s != 408);
        let spoke = status.is_some_and(|s| s >= 200) && error.is_some_and(|e| e != "gateway");
        let evidence = not_sent || refused || spoke || (status.is_some_and(|s| (400..=499).contains(&s)) && error.is_some())
            || (status.is_some_and(|s| (200..=299).contains(&s)) && error.is_some())
            || status.is_some_and(|s| (300..=399).contains(&s)) || (status == Some(503) && wait.is_some());
        match token_state(&Granted::Nothing, Some(&token_error)) {
            TokenState::Intact | TokenState::Dead => prop_assert!(evidence, "{token_error:?}"),
            TokenState::Unknown => prop_assert!(!not_sent),
            TokenState::Rotated | TokenState::Unchanged => prop_assert!(false, "nothing was granted"),
        }
        // Whatever the rest of an answer is, a new refresh token in it is the valid one.
        let new = Granted::New(SecretString::from("new"));
        prop_assert_eq!(token_state(&new, Some(&token_error)), TokenState::Rotated);
    }

    /// For every result, only a grant removes a doubt.
    #[test]
    fn a_doubt_ends_by_a_grant_alone(token_state in prop::sample::select(vec![TokenState::Rotated, TokenState::Unchanged, TokenState::Intact, TokenState::Unknown, TokenState::Dead]), last in any::<bool>()) {
        let doubt = mark(-500);
        let own = last.then(|| Mark::new(at(0), "me-1", true));
        let there = own.clone().unwrap_or_else(|| doubt.clone());
        let notes = Notes { mark: Some(there.clone()), ..Notes::default() };
        let changes = after(&notes, rule(None, 0), &sent(own, Some(doubt)), (token_state, None, None));
        let with_mark = match noted(changes, names::IN_FLIGHT_SINCE) {
            None => Some(there.text),
            Some(text) => text,
        };
        prop_assert_eq!(with_mark.is_none(), matches!(token_state, TokenState::Rotated | TokenState::Unchanged));
    }
}
