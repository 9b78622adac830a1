//! The floor of validation: its three reads of the store, at the same time, and nothing else.
//! Answers in headers alone; it looks at no value, and writes nothing.

use spin_sdk::http::{IntoResponse, Request, StatusCode};
use spin_sdk::http_service;
use spin_sdk::key_value::{Error, Store};

/// Reads what validation reads for the key whose id, in hex, is the query: flag, record, kill of its first version.
#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let id = request.uri().query().unwrap_or("0");
    match read(id).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn read(id: &str) -> Result<(), Error> {
    let store = Store::open_default().await?;
    let (flag, record, kill) = (format!("k:{id}"), format!("m:{id}"), format!("x:{id}.1"));
    futures::try_join!(store.get(flag), store.get(record), store.get(kill))?;
    Ok(())
}
