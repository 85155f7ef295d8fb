//! The policies, without a server.

use super::*;

const ME: (&Realm, &str) = (&Realm::Generic, "cli");
const DETECTING: RefreshPolicy = RefreshPolicy::RotateWithReuseDetection;

fn consented() -> Consented {
    Consented {
        realm: Realm::Generic,
        client_id: "cli".to_owned(),
        user: "ada".to_owned(),
        scope: "a b".to_owned(),
        audience: None,
        claims: None,
    }
}

fn redeem(
    tokens: &RefreshTokens,
    token: &str,
    client: (&Realm, &str),
    (policy, now): (RefreshPolicy, Timestamp),
) -> Result<Option<String>, BadRefresh> {
    let seen = tokens.redeem(token, client, (policy, now), |consented| {
        assert_eq!(consented.user, "ada");
        Ok::<_, BadRefresh>(())
    });
    seen.map(|((), next)| next)
}

#[test]
fn a_token_that_comes_again_takes_its_family_with_it() {
    let tokens = RefreshTokens::default();
    let now = Timestamp::now();
    let (first, stranger) = (
        tokens.issue(consented(), now),
        tokens.issue(consented(), now),
    );
    let refused: Result<((), _), _> =
        tokens.redeem(&first, ME, (DETECTING, now), |_| Err(BadRefresh::Unknown));
    assert_eq!(refused, Err(BadRefresh::Unknown), "and not used up");
    let redeem = |token: &str| redeem(&tokens, token, ME, (DETECTING, now));
    let second = redeem(&first).unwrap().unwrap();
    let third = redeem(&second).unwrap().unwrap();
    assert!(tokens.is_family_alive(&first, now) && !tokens.is_alive(&first, now));
    assert_eq!(redeem(&first), Err(BadRefresh::Used));
    assert!(!tokens.is_family_alive(&first, now));
    assert_eq!(redeem(&third), Err(BadRefresh::Revoked));
    assert!(redeem(&stranger).is_ok(), "another sign-in");
}

#[test]
fn grace_is_for_the_one_just_before_and_for_a_while() {
    let tokens = RefreshTokens::default();
    let now = Timestamp::now();
    let at = |token: &str, seconds: i64| {
        let now = now + SignedDuration::from_secs(seconds);
        redeem(
            &tokens,
            token,
            ME,
            (RefreshPolicy::Rotate { grace: 10 }, now),
        )
    };
    let first = tokens.issue(consented(), now);
    let second = at(&first, 0).unwrap().unwrap();
    let again = at(&first, 9).unwrap().unwrap();
    assert_ne!(second, again);
    assert_eq!(at(&first, 10), Err(BadRefresh::Used));
    assert!(at(&second, 10).is_ok(), "the family lives on");
    assert_eq!(at(&first, 9), Err(BadRefresh::Used), "two steps back");
    let strict = tokens.issue(consented(), now);
    let none = RefreshPolicy::Rotate { grace: 0 };
    assert!(redeem(&tokens, &strict, ME, (none, now)).is_ok());
    let seen = redeem(&tokens, &strict, ME, (none, now));
    assert_eq!(seen, Err(BadRefresh::Used));
}

#[test]
fn a_token_may_stay_or_be_joined_by_others() {
    let tokens = RefreshTokens::default();
    let now = Timestamp::now();
    let first = tokens.issue(consented(), now);
    let keep = (RefreshPolicy::Keep, now);
    assert_eq!(redeem(&tokens, &first, ME, keep), Ok(None));
    assert_eq!(redeem(&tokens, &first, ME, keep), Ok(None));
    let reissue = (RefreshPolicy::Reissue, now);
    let second = redeem(&tokens, &first, ME, reissue).unwrap().unwrap();
    assert_ne!(
        redeem(&tokens, &first, ME, reissue),
        Ok(Some(second.clone()))
    );
    let tenant = Realm::Entra("t".to_owned());
    for client in [(&Realm::Generic, "other"), (&tenant, "cli")] {
        let seen = redeem(&tokens, &first, client, reissue);
        assert_eq!(seen, Err(BadRefresh::Unknown));
    }
    let end = (RefreshPolicy::Reissue, now + IDLE);
    assert_eq!(redeem(&tokens, &second, ME, end), Err(BadRefresh::Expired));
    tokens.revoke_user("Ada");
    assert_eq!(
        redeem(&tokens, &second, ME, reissue),
        Err(BadRefresh::Revoked)
    );
}
