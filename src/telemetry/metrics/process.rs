//! What the kernel reports about this process (proc(5)). A value that cannot be read has no series.

use std::{fs, sync::OnceLock};

/// Ticks per second, the unit in which the kernel reports CPU time and start times to programs: 100 on all architectures that Rust
/// supports (`USER_HZ`, see time(7)).
const TICKS: f64 = 100.0;

/// The current values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) started: Option<f64>,
    pub(super) threads: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        static STARTED: OnceLock<Option<f64>> = OnceLock::new();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        let started = || started(&stat, &read("/proc/stat"));
        // The folder itself is also open while it is read.
        let open = fs::read_dir("/proc/self/fd").map(|all| all.count().saturating_sub(1));
        Self {
            cpu_seconds: cpu_seconds(&stat),
            resident_bytes: of_status(&status, "VmRSS:").map(|kib| kib * 1024),
            open_fds: open.ok().and_then(|n| n.try_into().ok()),
            max_fds: max_fds(&read("/proc/self/limits")),
            started: *STARTED.get_or_init(started),
            threads: of_status(&status, "Threads:"),
        }
    }
}

/// A field of `/proc/self/stat`, by its number in proc(5). The second one is a name, which may have spaces and parentheses.
fn of_stat(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

/// User and system time.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((of_stat(stat, 14)? + of_stat(stat, 15)?) / TICKS)
}

/// Unix time of the start: the boot time of the machine plus the ticks until the start.
fn started(stat: &str, machine: &str) -> Option<f64> {
    let booted = machine.lines().find_map(|l| l.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    Some(booted + of_stat(stat, 22)? / TICKS)
}

fn of_status(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The soft limit; `None` if there is no limit.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_whatever_the_name_of_the_program() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 2100 0 3 0 150 50 0 0 20 0 4 0 123456 9000 800 18446744073709551615";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        let machine = "cpu  1 2\nbtime 1700000000\nprocesses 9\n";
        assert_eq!(started(stat, machine), Some(1_700_001_234.56));
        assert_eq!(started(stat, ""), None);
        assert_eq!(cpu_seconds(""), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n";
        assert_eq!(max_fds(limits), Some(1024));
        let unlimited =
            "Max open files            unlimited            unlimited            files     \n";
        assert_eq!(max_fds(unlimited), None);
        let status = "Name:\tx\nVmRSS:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(of_status(status, "VmRSS:"), Some(12_345));
        assert_eq!(of_status(status, "Threads:"), Some(3));
    }

    #[test]
    fn this_process_has_them_all() {
        let now = Process::now();
        assert!(now.cpu_seconds.is_some(), "{now:?}");
        assert!(now.resident_bytes > Some(1_000_000), "{now:?}");
        assert!(now.open_fds >= Some(3), "{now:?}");
        assert!(now.threads >= Some(1), "{now:?}");
        assert!(now.started > Some(1_500_000_000.0), "{now:?}");
    }
}
