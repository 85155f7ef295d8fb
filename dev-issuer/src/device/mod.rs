//! Device codes (RFC 8628): a program shows a code, a user types it into a page elsewhere.

mod handle;
mod page;
mod store;
mod user_code;

pub use handle::PendingDevice;
pub(crate) use page::{entra_page, generic_page, verify};
pub(crate) use store::{DeviceRequest, Devices, Poll};
