//! A certificate, created as a user creates the first one of a client.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::Outcome;

/// Tolerance for clocks that differ.
const HOUR: Duration = Duration::from_hours(1);
const HALF_A_YEAR: Duration = Duration::from_hours(180 * 24);

/// A self-signed certificate of this name and its key, PEM.
pub(crate) fn pair(name: &str) -> Outcome<(String, String)> {
    let made = || -> Result<_, rcgen::Error> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = rcgen::date_time_ymd(1970, 1, 1) + since.unwrap_or_default();
        params.not_before = now - HOUR;
        params.not_after = now + HALF_A_YEAR;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    made().map_err(|error| format!("no certificate can be made: {error}"))
}
