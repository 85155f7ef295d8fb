//! The states one by one, and all of them under random histories.

mod record;
