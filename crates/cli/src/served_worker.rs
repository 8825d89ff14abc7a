//! `gptoss serve --grpc`: the same engine as a worker of routers, beside the HTTP APIs.
//!
//! The address is taken before anything is loaded, and before an air gap closes. One signal stops both: what
//! runs has the time of `--drain-timeout`, and then ends so that a router goes on elsewhere.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gptoss_model::{BLOCK_TOKENS, CHUNK_TOKENS_MAX};
use gptoss_server::{Bound, Log, Tls, bind};
use gptoss_worker::{KvEvents, Limits, Worker, WorkerAdapter, WorkerModel, WorkerTls, check_address};
use tokio::sync::oneshot;

use crate::args::ServeArgs;
use crate::failure::usage;
use crate::opened_adapter::OpenedAdapter;
use crate::router_folder::RouterFolder;
use crate::served_models::{Alone, Planned};

/// Whether the flags make a worker at this address.
///
/// Errors: a usage error for an address that other machines reach, unless they show certificates; for several
/// models, or one that leaves.
pub fn check(args: &ServeArgs, address: SocketAddr) -> Result<()> {
    check_address(address, args.grpc_tls).map_err(|error| {
        usage(format!("--grpc: {error}\ngive --grpc-tls with --tls-cert, --tls-key and --tls-client-ca"))
    })?;
    if args.model.len() > 1 {
        return Err(usage(
            "--grpc: a worker of a router has one model\ngive one --model, or leave --grpc out",
        ));
    }
    if args.model_idle.is_some_and(|seconds| seconds > 0) {
        return Err(usage("--grpc: a router expects the model to stay\nleave --model-idle out"));
    }
    Ok(())
}

/// The address of a worker that has no model yet.
pub struct BoundWorker {
    bound: Bound,
    tls: Option<Arc<Tls>>,
}

impl BoundWorker {
    /// Takes the address of the flags; None where there is none.
    ///
    /// Errors: those of `check`; an address that is taken.
    pub fn bind(args: &ServeArgs, tls: Option<&Arc<Tls>>) -> Result<Option<BoundWorker>> {
        let Some(address) = args.grpc else { return Ok(None) };
        check(args, address)?;
        // Who may come is decided above: keys are HTTP's.
        let bound = bind(address, true)?;
        Ok(Some(BoundWorker { bound, tls: tls.filter(|_| args.grpc_tls).cloned() }))
    }

    /// Gives it the model that is served.
    ///
    /// Errors: the folder for routers cannot be written; there is no randomness.
    pub fn of(
        self,
        args: &ServeArgs,
        plans: &[Planned],
        alone: Option<Alone>,
        kv_events: Option<KvEvents>,
    ) -> Result<ServedWorker> {
        let (Some(planned), Some(alone)) = (plans.first(), alone) else {
            return Err(usage("--grpc: a worker of a router has one model"));
        };
        let folder = RouterFolder::of(&alone, args.grpc_model_dir.as_deref())?;
        let served = &planned.served;
        let adapter = |adapter: &OpenedAdapter| WorkerAdapter {
            name: adapter.name.clone(),
            id: adapter.id,
            // A router takes no other path.
            folder: adapter.folder.canonicalize().unwrap_or_else(|_| adapter.folder.clone()),
        };
        let model = WorkerModel {
            engine: alone.assistant.engine().clone(),
            table: Arc::clone(alone.assistant.table()),
            name: served.name.clone(),
            aliases: served.aliases.iter().filter(|alias| *alias != "*").cloned().collect(),
            folder: folder.path().to_owned(),
            adapters: alone.adapters.iter().map(adapter).collect(),
            sampling: served.sampling.clone(),
            block_tokens: BLOCK_TOKENS,
            num_blocks: alone.sizes.blocks,
            max_sequences: alone.sizes.rings,
            step_tokens: CHUNK_TOKENS_MAX,
            kv_events,
        };
        let limits = Limits {
            drain: Duration::from_secs(args.drain_timeout),
            request_time: Duration::from_secs(args.request_timeout),
            ..Limits::default()
        };
        let worker = Worker::new(model, limits).context("cannot name the worker")?;
        Ok(ServedWorker { worker, bound: self.bound, tls: self.tls, folder })
    }
}

/// A worker that is ready to be served.
pub struct ServedWorker {
    worker: Worker,
    bound: Bound,
    tls: Option<Arc<Tls>>,
    folder: RouterFolder,
}

impl ServedWorker {
    /// Serves it until `stop`, beside what `serve` gives, which is told of the same stop.
    ///
    /// Errors: the address cannot be listened at.
    pub async fn beside<F: Future<Output = ()>>(
        self,
        stop: impl Future<Output = Duration>,
        log: Log,
        serve: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = Duration> + Send>>) -> F,
    ) -> Result<()> {
        let listener = self.bound.listen()?;
        let address = listener.local_addr().context("the port of --grpc has no address")?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut out = io::stdout();
        writeln!(
            out,
            "A worker of routers at {scheme}://{address} , which read {} .\n",
            self.folder.path().display()
        )?;
        out.flush()?;
        let tls = self.tls.map(|tls| WorkerTls {
            config: Arc::new(move || tls.config()),
            subject: Arc::new(Tls::subject_of),
        });
        let (stops_worker, worker_stops) = oneshot::channel();
        let (stops_server, server_stops) = oneshot::channel();
        let both = async move {
            let grace = stop.await;
            // Neither ends before it is told.
            let _ = (stops_worker.send(()), stops_server.send(grace));
        };
        // A sender that is gone has nothing to wait for.
        let server_stop = Box::pin(async move { server_stops.await.unwrap_or_default() });
        let worker_stop = async move { worker_stops.await.unwrap_or_default() };
        tokio::join!(both, serve(server_stop), self.worker.run(listener, tls, log, worker_stop));
        Ok(())
    }
}
