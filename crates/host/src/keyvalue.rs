//! The key-value and variables interfaces as guests see them: which label a component may open, and the
//! mapping of errors. The asynchronous interface keeps nothing of the guest locked while a store works.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureReader, HasData, Resource, StreamProducer, StreamReader, StreamResult,
    VecBuffer,
};

use crate::bindings::cron::spin::cron::cron_types;
use crate::bindings::imports::spin::key_value::key_value as spin;
use crate::bindings::imports::spin::variables::variables;
use crate::bindings::imports::wasi::keyvalue::{atomics, batch, store as wasi};
use crate::guest::GuestState;
use crate::manifest::check_variable_name;
use crate::store::{Store, StoreError};

/// How guests' calls reach their instance's state.
pub(crate) struct Guest;

impl HasData for Guest {
    type Data<'a> = &'a mut GuestState;
}

/// A store a guest has open.
#[derive(Clone)]
pub struct OpenStore {
    store: Arc<Store>,
    component: Arc<str>,
}

/// A compare-and-swap a guest has begun.
pub struct Cas {
    open: OpenStore,
    key: String,
    /// What `current` answered; before that, nothing is known and nothing can be swapped.
    seen: Option<Option<Vec<u8>>>,
}

enum Refused {
    Full,
    Denied,
    Unknown,
}

impl GuestState {
    fn open_store(&mut self, label: &str) -> Result<Resource<OpenStore>, Refused> {
        if !self.config.labels.contains(label) {
            return Err(Refused::Denied);
        }
        let store = self.env.stores.get(label).cloned().ok_or(Refused::Unknown)?;
        if self.open_stores >= self.env.limits.open_stores_max {
            return Err(Refused::Full);
        }
        let open = OpenStore { store, component: self.config.id.clone() };
        let resource = self.table.push(open).map_err(|_| Refused::Full)?;
        self.open_stores += 1;
        Ok(resource)
    }

    fn close_store(&mut self, resource: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(resource)?;
        self.open_stores = self.open_stores.saturating_sub(1);
        Ok(())
    }

    fn opened(&self, resource: &Resource<OpenStore>) -> wasmtime::Result<OpenStore> {
        Ok(self.table.get(resource)?.clone())
    }
}

impl From<StoreError> for spin::Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}

impl From<StoreError> for wasi::Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.0)
    }
}

type SpinResult<T> = wasmtime::Result<Result<T, spin::Error>>;

impl spin::Host for GuestState {}

impl cron_types::Host for GuestState {}

impl spin::HostStore for GuestState {
    fn drop(&mut self, resource: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close_store(resource)
    }
}

fn opened<T>(accessor: &Accessor<T, Guest>, resource: &Resource<OpenStore>) -> wasmtime::Result<OpenStore> {
    accessor.with(|mut access| access.get().opened(resource))
}

impl<T: Send> spin::HostStoreWithStore<T> for Guest {
    async fn open(accessor: &Accessor<T, Self>, label: String) -> SpinResult<Resource<OpenStore>> {
        Ok(accessor.with(|mut access| access.get().open_store(&label)).map_err(|refused| match refused {
            Refused::Full => spin::Error::StoreTableFull,
            Refused::Denied => spin::Error::AccessDenied,
            Refused::Unknown => spin::Error::NoSuchStore,
        }))
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        resource: Resource<OpenStore>,
        key: String,
    ) -> SpinResult<Option<Vec<u8>>> {
        let open = opened(accessor, &resource)?;
        Ok(open.store.get(&open.component, &key).await.map_err(Into::into))
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        resource: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
    ) -> SpinResult<()> {
        let open = opened(accessor, &resource)?;
        Ok(open.store.set(&open.component, &key, &value).await.map_err(Into::into))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        resource: Resource<OpenStore>,
        key: String,
    ) -> SpinResult<()> {
        let open = opened(accessor, &resource)?;
        Ok(open.store.delete(&open.component, &key).await.map_err(Into::into))
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        resource: Resource<OpenStore>,
        key: String,
    ) -> SpinResult<bool> {
        let open = opened(accessor, &resource)?;
        Ok(open.store.exists(&open.component, &key).await.map_err(Into::into))
    }

    async fn get_keys(
        accessor: &Accessor<T, Self>,
        resource: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), spin::Error>>)> {
        let open = opened(accessor, &resource)?;
        let (done, ended) = oneshot::channel();
        accessor.with(|mut access| {
            let keys = Keys { page: Some(page(open.clone(), None)), open, done: Some(done) };
            let stream = StreamReader::new(&mut access, keys)?;
            let end = async move {
                // Closed without a word: the guest dropped the stream.
                wasmtime::error::Ok(ended.await.unwrap_or(Ok(())))
            };
            Ok((stream, FutureReader::new(&mut access, end)?))
        })
    }
}

type Page = BoxFuture<'static, Result<(Vec<String>, Option<String>), StoreError>>;

fn page(open: OpenStore, after: Option<String>) -> Page {
    Box::pin(async move { open.store.keys(&open.component, "", after).await })
}

/// A listing, read from the store page by page: no store stays locked while the guest reads.
struct Keys {
    open: OpenStore,
    page: Option<Page>,
    done: Option<oneshot::Sender<Result<(), spin::Error>>>,
}

impl Keys {
    fn end(&mut self, outcome: Result<(), StoreError>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(done) = self.done.take() {
            let _ = done.send(outcome.map_err(Into::into));
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl<D> StreamProducer<D> for Keys {
    type Item = String;
    type Buffer = VecBuffer<String>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, String, VecBuffer<String>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        loop {
            let Some(page_to_come) = &mut self.page else { return self.end(Ok(())) };
            let outcome = match page_to_come.as_mut().poll(cx) {
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => outcome,
            };
            let (keys, cursor) = match outcome {
                Ok(found) => found,
                Err(error) => {
                    self.page = None;
                    return self.end(Err(error));
                }
            };
            self.page = cursor.map(|cursor| page(self.open.clone(), Some(cursor)));
            // An empty page with more to come is Redis' way; an empty last one ends at the next turn.
            if !keys.is_empty() {
                destination.set_buffer(keys.into());
                return Poll::Ready(Ok(StreamResult::Completed));
            }
        }
    }
}

impl variables::Host for GuestState {}

impl<T: Send> variables::HostWithStore<T> for Guest {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, variables::Error>> {
        if let Err(reason) = check_variable_name(&name) {
            return Ok(Err(variables::Error::InvalidName(reason)));
        }
        let value = accessor.with(|mut access| access.get().config.variables.get(&name).cloned());
        Ok(value
            .ok_or_else(|| variables::Error::Undefined(format!("the component has no variable `{name}`"))))
    }
}

type WasiResult<T> = wasmtime::Result<Result<T, wasi::Error>>;

impl wasi::Host for GuestState {
    async fn open(&mut self, identifier: String) -> WasiResult<Resource<OpenStore>> {
        Ok(self.open_store(&identifier).map_err(|refused| match refused {
            Refused::Full => wasi::Error::Other("too many stores are open".into()),
            Refused::Denied => wasi::Error::AccessDenied,
            Refused::Unknown => wasi::Error::NoSuchStore,
        }))
    }
}

impl wasi::HostBucket for GuestState {
    async fn get(&mut self, bucket: Resource<OpenStore>, key: String) -> WasiResult<Option<Vec<u8>>> {
        let open = self.opened(&bucket)?;
        Ok(open.store.get(&open.component, &key).await.map_err(Into::into))
    }

    async fn set(&mut self, bucket: Resource<OpenStore>, key: String, value: Vec<u8>) -> WasiResult<()> {
        let open = self.opened(&bucket)?;
        Ok(open.store.set(&open.component, &key, &value).await.map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<OpenStore>, key: String) -> WasiResult<()> {
        let open = self.opened(&bucket)?;
        Ok(open.store.delete(&open.component, &key).await.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<OpenStore>, key: String) -> WasiResult<bool> {
        let open = self.opened(&bucket)?;
        Ok(open.store.exists(&open.component, &key).await.map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<OpenStore>,
        cursor: Option<String>,
    ) -> WasiResult<wasi::KeyResponse> {
        let open = self.opened(&bucket)?;
        let found = open.store.keys(&open.component, "", cursor).await;
        Ok(found.map(|(keys, cursor)| wasi::KeyResponse { keys, cursor }).map_err(Into::into))
    }

    fn drop(&mut self, bucket: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close_store(bucket)
    }
}

impl batch::Host for GuestState {
    async fn get_many(
        &mut self,
        bucket: Resource<OpenStore>,
        keys: Vec<String>,
    ) -> WasiResult<Vec<(String, Option<Vec<u8>>)>> {
        let open = self.opened(&bucket)?;
        Ok(open.store.get_many(&open.component, keys).await.map_err(Into::into))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<OpenStore>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> WasiResult<()> {
        let open = self.opened(&bucket)?;
        Ok(open.store.set_many(&open.component, pairs).await.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<OpenStore>, keys: Vec<String>) -> WasiResult<()> {
        let open = self.opened(&bucket)?;
        Ok(open.store.delete_many(&open.component, keys).await.map_err(Into::into))
    }
}

impl atomics::Host for GuestState {
    async fn increment(&mut self, bucket: Resource<OpenStore>, key: String, delta: i64) -> WasiResult<i64> {
        let open = self.opened(&bucket)?;
        Ok(open.store.increment(&open.component, &key, delta).await.map_err(Into::into))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let Cas { open, key, seen } = self.table.delete(cas)?;
        let failed = |error: StoreError| atomics::CasError::StoreError(error.into());
        let Some(expected) = seen else {
            return Ok(Err(failed(StoreError::new("call `current` before `swap`"))));
        };
        match open.store.swap(&open.component, &key, expected, value).await {
            Ok(true) => Ok(Ok(())),
            Ok(false) => {
                let again = self.table.push(Cas { open, key, seen: None })?;
                Ok(Err(atomics::CasError::CasFailed(again)))
            }
            Err(error) => Ok(Err(failed(error))),
        }
    }
}

impl atomics::HostCas for GuestState {
    async fn new(&mut self, bucket: Resource<OpenStore>, key: String) -> WasiResult<Resource<Cas>> {
        let open = self.opened(&bucket)?;
        Ok(Ok(self.table.push(Cas { open, key, seen: None })?))
    }

    async fn current(&mut self, cas: Resource<Cas>) -> WasiResult<Option<Vec<u8>>> {
        let Cas { open, key, .. } = self.table.get(&cas)?;
        let (open, key) = (open.clone(), key.clone());
        match open.store.get(&open.component, &key).await {
            Ok(value) => {
                self.table.get_mut(&cas)?.seen = Some(value.clone());
                Ok(Ok(value))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
