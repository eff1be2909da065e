//! A request's body, taken in once, before anything else is done with the request.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use http_body_util::BodyExt as _;
use zeroize::Zeroizing;

use super::error::{Failure, Problem};

/// Largest body, in bytes; part of the contract.
pub(super) const BODY_LIMIT: usize = 16 * 1024;

/// Room for a body to begin with, in bytes; a login or a refresh is shorter.
const FIRST: usize = 1024;

/// What is too large is read and thrown away up to this: a sender cut off in the middle would lose the answer.
const DRAINED: usize = 1 << 20;

/// The whole body, in time and within [`BODY_LIMIT`]; one that announces far more is not even begun.
///
/// Bodies carry passwords and tokens: this is a copy of our own, wiped when nobody holds it any longer, however it was
/// shared. What it was copied from is a part of hyper's read buffer, which nobody but hyper could wipe.
pub(super) async fn take_in(body: Body, deadline: Duration) -> Result<Bytes, Failure> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced > DRAINED) {
        return Err(Problem::BodyTooLarge.into());
    }
    match tokio::time::timeout(deadline, gather(body)).await {
        Err(_) => Err(Problem::RequestTimeout.into()),
        Ok(gathered) => Ok(gathered?),
    }
}

async fn gather(mut body: Body) -> Result<Bytes, Problem> {
    // No more than has come: what a length promises would be paid for by whoever opens streams and sends nothing.
    let mut whole = Zeroizing::new(Vec::with_capacity(FIRST));
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::MalformedRequest)?.into_data() else { continue };
        seen += data.len();
        if seen > DRAINED {
            break;
        }
        if seen > BODY_LIMIT {
            continue;
        }
        if seen > whole.capacity() {
            // By hand, so that what is left behind is wiped.
            let mut wider = Zeroizing::new(Vec::with_capacity(seen.next_power_of_two()));
            wider.extend_from_slice(&whole);
            whole = wider;
        }
        whole.extend_from_slice(&data);
    }
    if seen > BODY_LIMIT { Err(Problem::BodyTooLarge) } else { Ok(Bytes::from_owner(whole)) }
}
