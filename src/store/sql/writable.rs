//! Whether the database takes changes. A full disk lets it answer every question and refuse every change.

use std::sync::atomic::Ordering;

use super::row::Failure;
use super::{SqlStore, Step, changed, query};
use crate::store::{StoreError, StoreResult};

/// Both in one transaction: a statement that leaves its row as it was would not be written, and prove nothing.
const PROOF: [&str; 2] =
    ["UPDATE key_ring SET generation = generation + 1", "UPDATE key_ring SET generation = generation - 1"];

impl SqlStore {
    /// Whether changes reach the database: not from the first that failed until [`SqlStore::recover`] made one.
    pub fn takes_changes(&self) -> bool {
        !self.refuses.load(Ordering::Relaxed)
    }

    /// While the database takes no changes, tries one that leaves everything as it was; durable on return.
    ///
    /// # Errors
    /// It still takes none.
    pub async fn recover(&self) -> StoreResult<()> {
        if self.takes_changes() {
            return Ok(());
        }
        self.step(Step::recover, || async move {
            let mut step = self.begin().await?;
            for sql in PROOF {
                if changed(query(sql), &mut *step).await? != 1 {
                    return Err(Failure::Corrupt("key ring"));
                }
            }
            step.commit_unnoted().await
        })
        .await?;
        if self.refuses.swap(false, Ordering::Relaxed) {
            tracing::info!("the database takes changes again");
        }
        Ok(())
    }

    /// What a step that failed tells its caller, and what it says of the database.
    pub(super) fn failed(&self, step: Step, failure: Failure) -> StoreError {
        let blameless =
            matches!(failure, Failure::Corrupt(_) | Failure::Refused(_)) || failure.breaks_a_rule();
        let error = failure.into_store_error(step.name());
        if !step.reads() && !blameless && !self.refuses.swap(true, Ordering::Relaxed) {
            tracing::error!(
                cause = %error,
                "the database takes no changes, so this server is not ready: see that its file and folder can be written, free disk space; it goes on by itself"
            );
        }
        error
    }
}

impl Step {
    /// Whether it changes nothing, so that its failure says nothing of changes.
    fn reads(self) -> bool {
        matches!(
            self,
            Step::account
                | Step::credential_by_identifier
                | Step::credential
                | Step::accounts
                | Step::client
                | Step::clients
                | Step::session
                | Step::live_session
                | Step::sessions_of
                | Step::ring
                | Step::ring_generation
                | Step::signed_counts
                | Step::secrets
                | Step::data_keys
                | Step::audit
        )
    }
}
