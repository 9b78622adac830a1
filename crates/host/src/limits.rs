//! Every bound of the host in one place: unit, default, where the default comes from. A bound says what
//! happens when it is met; none of them can be met by one guest at another guest's cost.

use std::time::Duration;

/// What a host allows. `Limits::default()` suits one application on one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's backlog. Default 2,048: twice the
    /// requests, so that idle keep-alive connections do not crowd out working ones.
    pub connections_max: usize,
    /// Bytes of a request's head (HTTP/1) or of its header list (HTTP/2); a larger one is refused with 431.
    /// Default 65,536: four times what nginx and Envoy take together for common requests.
    pub request_head_bytes_max: usize,
    /// How long a client may take to send a request's head, and how long a connection may idle between two
    /// requests. Default 30 s; nginx's `client_header_timeout` is 60 s.
    pub request_head_time_max: Duration,
    /// Bytes of a request's body; a longer one is refused with 413, or cut with an error where its length
    /// was not announced. Default 10 MiB. Spin has no bound.
    pub request_body_bytes_max: u64,
    /// How long a guest may take to answer a request's head; then the caller gets 504 and the instance is
    /// dropped. Wall clock, busy loops included. Default 30 s. Spin has none by default.
    pub request_time_max: Duration,
    /// How long a guest may go on after the head of its last response: a streamed body, spawned tasks.
    /// Default 30 s.
    pub post_return_time_max: Duration,
    /// How long a client may stall in taking its response before its connection is dropped. Default 30 s.
    pub write_stall_time_max: Duration,
    /// Requests in flight; above it 503 with `Retry-After: 1`. Default 1,024.
    pub requests_in_flight_max: usize,
    /// Requests that guests have sent to `*.spin.internal` or to themselves and that are in flight; above
    /// it the caller sees 503. Their own bound, so that a chain cannot starve on the permit of its first
    /// link. Default 1,024.
    pub chained_in_flight_max: usize,
    /// Outbound requests of guests in flight; above it the guest sees a connection-limit error. Default 256.
    pub outbound_in_flight_max: usize,
    /// Longest connect, first-byte and between-bytes time of an outbound request, whatever the guest asks
    /// for. Default 30 s.
    pub outbound_time_max: Duration,
    /// Instances alive at once over all components; when none is free the caller gets 503. Default 512.
    /// Address space, not memory: each slot reserves 4 GiB of it.
    pub instances_max: u32,
    /// Bytes of one guest's linear memory; growing beyond traps. Default 128 MiB.
    pub guest_memory_bytes_max: usize,
    /// Requests one instance answers in its life; one of WASI 0.2 answers one. Default 128, Spin's.
    pub instance_requests_max: usize,
    /// Requests one instance works on at once. Default 16, Spin's.
    pub instance_concurrency_max: usize,
    /// How long an idle instance is kept. Default 1 s, Spin's.
    pub instance_idle_time_max: Duration,
    /// Epoch: how long a guest computes before it must let others run. Default 5 ms.
    pub time_slice: Duration,
    /// Stores a guest instance may hold open at once. Default 256, Spin's.
    pub open_stores_max: usize,
    /// Bytes of one key. Default 1,024. Spin has no bound.
    pub store_key_bytes_max: usize,
    /// Bytes of one value. Default 16 MiB. Spin has no bound.
    pub store_value_bytes_max: usize,
    /// How long one store call may take before the guest gets an error. Default 5 s.
    pub store_time_max: Duration,
    /// Cron: longest run of one tick. Default 60 s.
    pub cron_time_max: Duration,
    /// Cron: ticks of one trigger running at once; a further one is skipped and logged. Default 4.
    pub cron_overlap_max: usize,
    /// Bytes of one line a guest writes to stdout or stderr; the rest of the line is cut. Default 4,096.
    pub guest_line_bytes_max: usize,
    /// How long a stop waits for requests and spawned guest tasks. Default 10 s, below the 30 s after which
    /// Kubernetes kills.
    pub stop_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2_048,
            request_head_bytes_max: 65_536,
            request_head_time_max: Duration::from_secs(30),
            request_body_bytes_max: 10 << 20,
            request_time_max: Duration::from_secs(30),
            post_return_time_max: Duration::from_secs(30),
            write_stall_time_max: Duration::from_secs(30),
            requests_in_flight_max: 1_024,
            chained_in_flight_max: 1_024,
            outbound_in_flight_max: 256,
            outbound_time_max: Duration::from_secs(30),
            instances_max: 512,
            guest_memory_bytes_max: 128 << 20,
            instance_requests_max: 128,
            instance_concurrency_max: 16,
            instance_idle_time_max: Duration::from_secs(1),
            time_slice: Duration::from_millis(5),
            open_stores_max: 256,
            store_key_bytes_max: 1_024,
            store_value_bytes_max: 16 << 20,
            store_time_max: Duration::from_secs(5),
            cron_time_max: Duration::from_secs(60),
            cron_overlap_max: 4,
            guest_line_bytes_max: 4_096,
            stop_time_max: Duration::from_secs(10),
        }
    }
}
