//! A credential that stands in its issuer's line for so long that its token ends there.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use serde_json::json;
use testenv::eventually;

use crate::{
    life::{Case, in_both_modes, world},
    support::{SOON, condition, run},
};

#[test]
fn a_token_that_ends_while_its_credential_stands_in_line_is_told_once_that_lasts() {
    run(in_both_modes(async |mode| {
        let mut case = Case::within(world().await, "line", mode).await;
        let place = Arc::clone(&case.place);
        let mut issuer = place.entra_issuer();
        issuer["limits"] = json!({ "maxInFlight": 1 });
        place.put_issuer(issuer).await;
        let life = |seconds| {
            let set = place
                .issuer
                .set_lifetime(&place.client, Duration::from_secs(seconds));
            set.expect("the client is known");
        };
        life(60);
        case.start();
        place.create("c", json!({})).await;
        let first = case.until_ready(None).await;
        life(3_600);

        let hold = place.other_asks().await;

        let said = case.said.clone();
        let looks = || said.text().matches("Mint(").count();
        let before = looks();
        case.pass(SignedDuration::from_mins(2)).await;
        eventually(SOON, "a look that ends in the line", async || {
            looks() > before
        })
        .await;
        let c = place.credentials().get("c").await.expect("it is there");
        let ready = condition(&c, "Ready").expect("a condition");
        assert_eq!(ready.status, "True", "not told before it lasts");

        case.pass(SignedDuration::from_secs(61)).await;
        place
            .until("c", "its place in the line", |c| {
                let renewing = condition(c, "Renewing")?;
                let ready = condition(c, "Ready")?;
                (renewing.reason == "WaitingForIssuer" && ready.status == "False").then_some(())
            })
            .await;
        hold.release();
        let second = case.until_ready(Some((&first, None))).await;
        assert_ne!(first.token, second.token);
        assert_eq!(place.posts(), 2, "O3");
        for name in ["c", "other"] {
            place.delete(name).await;
        }
        case.until_gone().await;
        case.stop().await;
    }));
}
