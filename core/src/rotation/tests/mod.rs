//! The states one by one, and all of them under random histories.

mod busy;
mod elsewhere;
mod faults;
mod graph;
mod histories;
mod left;
mod manager;
mod overlap;
mod record;
mod registration;
mod trials;
mod unknown;
mod upload;
mod upload_histories;
mod world;
