use std::{future, time::Duration};

use crate::controller::reconcile::{Defect, contained};

#[tokio::test]
async fn a_reconcile_that_panics_or_never_returns_harms_no_other() {
    let long = Duration::from_mins(1);
    let panics = contained(long, async {
        tokio::task::yield_now().await;
        assert!(std::hint::black_box(false), "a defect of a test");
    });
    let never = contained(Duration::from_millis(1), future::pending::<()>());
    let fine = contained(long, async { 7 });
    let (panics, never, fine) = tokio::join!(panics, never, fine);
    assert!(matches!(panics, Err(Defect::Panicked)));
    assert!(matches!(never, Err(Defect::TookTooLong)));
    assert!(matches!(fine, Ok(7)));
}
