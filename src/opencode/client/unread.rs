//! A page of a list as it came, for those who may know it by its bytes: reading it is most of what it costs.

use super::{AskError, Page, read, wire};

/// See the module.
#[derive(Debug)]
pub struct Unread {
    pub(super) body: Vec<u8>,
    pub(super) more: bool,
}

impl Unread {
    /// Its bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the server says that more follow.
    pub fn more(&self) -> bool {
        self.more
    }

    /// What it says.
    pub async fn read(self) -> Result<Page, AskError> {
        let more = self.more;
        read(self.body, move |body| wire::page(body, more)).await
    }
}
