//! What stands behind the question mark of a request, as a value.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use gptoss_api::ApiError;
use serde::de::DeserializeOwned;

use crate::rejection::Rejection;
use crate::state::Shared;

/// A query.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Query<T>, Rejection> {
        match axum::extract::Query::from_request_parts(parts, app).await {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(error) => Err(ApiError::Invalid { param: None, message: error.body_text() }.into()),
        }
    }
}
