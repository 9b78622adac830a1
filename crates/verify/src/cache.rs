//! What an instance remembers from request to request. Nothing of any request, and nothing of any key.

use crate::application::ApplicationCache;
use crate::imports::ImportsCache;

/// The instance's memory: of applications, and of which imports there are, each for at most 250 ms.
#[derive(Default)]
pub struct InstanceCache {
    pub(crate) applications: ApplicationCache,
    pub(crate) imports: ImportsCache,
}
