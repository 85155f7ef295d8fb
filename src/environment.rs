//! Environment variables of the programs. One that is empty is as one that is not set: a template that has no value for it writes
//! it so.

use std::{env, ffi::OsStr};

use clap::Command;

/// The same command, which does not read variables that are empty.
pub fn without_empty(command: Command) -> Command {
    without(command, is_empty)
}

/// It is set, to nothing.
pub fn is_empty(name: &OsStr) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

fn without(command: Command, left_out: fn(&OsStr) -> bool) -> Command {
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if left_out(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(|command| without(command, left_out))
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn what_is_left_out_is_read_at_no_depth_and_the_rest_is_read() {
        // Both are set wherever tests run.
        let args = || ["PATH", "HOME"].map(|name| Arg::new(name).long(name).env(name));
        let inner = Command::new("inner").args(args());
        let outer = Command::new("outer").args(args());
        let command = outer.subcommand(inner);
        let found = |command: &Command, args: &[&str]| {
            let all = command.clone().get_matches_from(args);
            let of = all
                .subcommand()
                .map_or(all.clone(), |(_, inner)| inner.clone());
            ["PATH", "HOME"].map(|name| of.get_one::<String>(name).is_some())
        };
        let less = without(command.clone(), |name| name == "HOME");
        for args in [&["outer"][..], &["outer", "inner"]] {
            assert_eq!(found(&command, args), [true, true], "{args:?}");
            assert_eq!(found(&less, args), [true, false], "{args:?}");
        }
        let given = less.get_matches_from(["outer", "--HOME", "/a"]);
        let given = given.get_one::<String>("HOME").map(String::as_str);
        assert_eq!(given, Some("/a"), "a flag is read");
    }
}
