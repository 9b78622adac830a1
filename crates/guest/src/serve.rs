//! The entry of every component: the platform's request in, an answer out that names its request. Nothing here fails or panics.

use crate::request::Incoming;
use crate::response::Response;
use spin_sdk::wasip3::http::types;

/// Answers one request through a component's handler.
pub async fn answer(
    request: types::Request,
    handle: impl AsyncFnOnce(&Incoming) -> Response,
) -> types::Response {
    let incoming = Incoming::receive(request);
    let response = handle(&incoming).await;
    response.with_request_id(incoming.id()).into_wire()
}

/// Exports `async fn handle(incoming: &Incoming) -> Response` as the component's HTTP handler.
#[macro_export]
macro_rules! serve {
    ($handle:ident) => {
        mod keyward_component {
            struct Component;

            $crate::__spin_sdk::wasip3::http::service::export!(Component);

            impl $crate::__spin_sdk::wasip3::exports::http::handler::Guest for Component {
                async fn handle(
                    request: $crate::__spin_sdk::wasip3::http::types::Request,
                ) -> Result<
                    $crate::__spin_sdk::wasip3::http::types::Response,
                    $crate::__spin_sdk::wasip3::http::types::ErrorCode,
                > {
                    Ok($crate::serve::answer(request, async |incoming| super::$handle(incoming).await).await)
                }
            }
        }
    };
}
