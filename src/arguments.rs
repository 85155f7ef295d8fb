//! Reads the command line. Its errors do not contain the values that may contain a secret.

use clap::{
    Error, Parser,
    error::{ContextKind, ContextValue},
};

use crate::environment;

/// Names of values that may contain a user, a password or a token. The value of a variable is an argument as well.
const HIDDEN: [&str; 4] = ["<URL>", "<ORIGIN>", "<CLAIMS>", "<REDIRECT_URI>"];

/// The arguments of this process. If they cannot be read, it ends.
pub fn parse<P: Parser>() -> P {
    let command = environment::without_empty(P::command());
    let found = command.try_get_matches();
    found
        .and_then(|found| P::from_arg_matches(&found))
        .unwrap_or_else(|fault| without_value(fault).exit())
}

/// The same error. clap quotes the value that it cannot parse, and a URL may contain a password.
pub fn without_value(mut fault: Error) -> Error {
    let argument = match fault.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => return fault,
    };
    if HIDDEN.iter().any(|value| argument.contains(value)) {
        fault.insert(
            ContextKind::InvalidValue,
            ContextValue::String("…".to_owned()),
        );
    }
    fault
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command, value_parser};
    use url::Url;

    use super::*;

    #[test]
    fn a_url_that_cannot_be_parsed_is_not_shown_and_a_number_is() {
        let command = Command::new("program")
            .arg(
                Arg::new("to")
                    .long("to")
                    .value_name("URL")
                    .value_parser(value_parser!(Url)),
            )
            .arg(Arg::new("n").long("n").value_parser(value_parser!(u16)));
        let message = |args: &[&str]| {
            let args = ["program"].iter().chain(args);
            let fault = command.clone().try_get_matches_from(args).unwrap_err();
            without_value(fault).to_string()
        };
        for args in [&["--to", "http://u:SECRET@:x"][..], &["--to=SECRET"]] {
            let message = message(args);
            assert!(!message.contains("SECRET"), "{message}");
            assert!(message.contains("--to <URL>"), "{message}");
        }
        assert!(message(&["--n", "70000"]).contains("70000"));
    }
}
