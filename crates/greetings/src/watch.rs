//! All that tells how the app fares: the log, metrics, and traces.

use std::{error::Error, io, net::SocketAddr};

use metrics_exporter_prometheus::{PrometheusHandle, PrometheusRecorder};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{access::Told, log, measure, options::Options, otlp::Otlp, prometheus, server::Limits};

/// What is told, and to whom.
pub(crate) struct Watch {
    prometheus: Option<PrometheusHandle>,
    otlp: Option<Otlp>,
}

impl Watch {
    /// Begins to log, to count and to trace as the options say. Call it in the runtime, and before
    /// anything is made that counts.
    pub(crate) fn begin(options: &Options) -> Result<Self, Box<dyn Error>> {
        let recorder = options.metrics.map(|_| prometheus::recorder()).transpose()?;
        let prometheus = recorder.as_ref().map(PrometheusRecorder::handle);
        let otlp = options.otlp.as_ref().map(|to| Otlp::new(to, &options.service)).transpose()?;
        log::begin(options, otlp.as_ref().map(Otlp::layer));
        match (&otlp, recorder) {
            (Some(otlp), recorder) => otlp.install(recorder),
            (None, Some(recorder)) => measure::install(recorder),
            (None, None) => {}
        }
        Ok(Self { prometheus, otlp })
    }

    /// What of each request is told.
    pub(crate) fn of_requests(&self) -> Told {
        let spans = self.otlp.is_some();
        Told::new(spans || self.prometheus.is_some(), spans)
    }

    /// Answers Prometheus where it was asked to.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        limits: Limits,
    ) -> io::Result<Option<(JoinSet<()>, SocketAddr)>> {
        let Some(handle) = &self.prometheus else { return Ok(None) };
        let address = listener.local_addr()?;
        let tasks = prometheus::serve(listener, handle.clone(), limits)?;
        Ok(Some((tasks, address)))
    }

    /// Sends what is left to tell.
    pub(crate) async fn end(self) {
        if let Some(otlp) = self.otlp {
            // The runtime sends it meanwhile. What went wrong is logged.
            let _ = tokio::task::spawn_blocking(move || otlp.end()).await;
        }
    }
}
