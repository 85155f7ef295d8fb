//! `application/x-www-form-urlencoded`, parsed strictly. A lenient parser would accept a client that encodes wrongly,
//! which real issuers do not.

/// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The parameters of a request, in order, decoded once and not trimmed.
#[derive(Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(body).map_err(|_| Malformed)?;
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first value. RFC 6749 section 3.1: a parameter without a value counts as not sent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.0
            .iter()
            .filter(move |(n, v)| n == name && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// All parameters that have a value, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter().filter(|(_, value)| !value.is_empty());
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A duplicate name (RFC 6749 section 3.2 forbids it), except the exempt one.
    pub(crate) fn duplicate(&self, exempt: Option<&str>) -> Option<&str> {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        names.enumerate().find_map(|(i, name)| {
            let earlier = self.0[..i].iter().any(|(n, _)| n == name);
            (earlier && Some(name) != exempt).then_some(name)
        })
    }
}

/// Decodes one name or value.
pub(crate) fn decode(text: &str) -> Result<String, Malformed> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    let byte = bytes.next().ok_or(Malformed)?;
                    char::from(byte).to_digit(16).ok_or(Malformed)
                };
                let value = digit()? * 16 + digit()?;
                u8::try_from(value).map_err(|_| Malformed)?
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once_and_not_trimmed() {
        let form = Form::parse(b"a=1%2B+2&b=%20x%20&c=&d&e=%2525").unwrap();
        assert_eq!(form.get("a"), Some("1+ 2"));
        assert_eq!(form.get("b"), Some(" x "));
        assert_eq!(form.get("c"), None);
        assert_eq!(form.get("d"), None);
        assert_eq!(form.get("e"), Some("%25"));
    }

    #[test]
    fn bad_encoding_is_refused() {
        for bad in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Form::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Form::parse(&[b'a', b'=', 0xff]).is_err());
    }

    #[test]
    fn duplicates_are_found() {
        let form = Form::parse(b"a=1&b=2&a=3").unwrap();
        assert_eq!(form.duplicate(None), Some("a"));
        assert_eq!(form.duplicate(Some("a")), None);
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["1", "3"]);
    }
}
