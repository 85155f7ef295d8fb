//! EC keys as JWK whose numbers have more or fewer leading zeros than RFC 7518 section 6.2 requires.

use aws_lc_rs::{
    encoding::{AsBigEndian, EcPrivateKeyBin},
    signature::{EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::oauth::{ClientKey, signing_key::Curve};

fn numbers(curve: Curve) -> [Vec<u8>; 3] {
    let key = EcdsaKeyPair::generate(curve.signing()).unwrap();
    let d: EcPrivateKeyBin<'_> = key.private_key().as_be_bytes().unwrap();
    let (x, y) = key.public_key().as_ref()[1..].split_at(curve.size());
    [d.as_ref().to_vec(), x.to_vec(), y.to_vec()]
}

fn jwk(curve: Curve, [d, x, y]: &[Vec<u8>; 3]) -> Value {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({ "kty": "EC", "crv": curve.name(), "d": text(d), "x": text(x), "y": text(y) })
}

#[test]
fn zeros_before_a_number_of_an_ec_key_do_not_change_it() {
    for curve in Curve::ALL {
        let plain = numbers(curve);
        for zeros in [1, 2, 40] {
            for nth in 0..3 {
                let mut more = plain.clone();
                more[nth].splice(0..0, vec![0; zeros]);
                let read = ClientKey::read(&jwk(curve, &more).to_string());
                let problem = read.err();
                assert_eq!(problem, None, "{} {zeros} {nth}", curve.name());
            }
        }
        // One more byte that is not zero makes another number.
        for nth in 0..3 {
            let mut other = plain.clone();
            other[nth].insert(0, 1);
            let read = ClientKey::read(&jwk(curve, &other).to_string());
            let problem = read.err().unwrap();
            assert!(problem.contains("do not belong together"), "{problem}");
        }
        let mut nothing = plain.clone();
        nothing[0] = vec![0; curve.size() + 1];
        assert!(ClientKey::read(&jwk(curve, &nothing).to_string()).is_err());
    }
    // Without the required zeros: a key whose x begins with one.
    let short = std::iter::repeat_with(|| numbers(Curve::P256)).find(|all| all[1][0] == 0);
    let mut short = short.unwrap();
    short[1].remove(0);
    assert!(ClientKey::read(&jwk(Curve::P256, &short).to_string()).is_ok());
}
