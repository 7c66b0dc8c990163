//! SubjectDetailsService over REST (cloudapi, iam/v1/subject_details_service.proto): who a subject is.

use serde_json::json;

use super::granted::Granted;
use crate::refusal::Refusal;
use crate::routes::SUBJECTS;
use crate::server::{Request, Response};
use crate::state::State;

/// `GET /iam/v1/subjects/{id}`. A subject without a name may not be looked up, as if the caller had no role for it.
pub(crate) fn get(state: &State, request: &Request) -> Result<Granted, Refusal> {
    if request.method != "GET" {
        return Err(Refusal::other(405, "Method not allowed").because(format!("{} is not GET", request.method)));
    }
    let cloud = state.cloud();
    cloud.authenticate(request)?;
    let subject = request.path.strip_prefix(SUBJECTS).unwrap_or_default();
    let Some(name) = cloud.accounts.name(subject) else {
        return Err(Refusal::denied("Permission denied").because(format!("{subject} may not be looked up")));
    };
    let body = json!({"subject": {"sub": subject, "type": "SERVICE_ACCOUNT", "status": "ACTIVE", "name": name}});
    Ok((Response::json(200, body.to_string()), None))
}
