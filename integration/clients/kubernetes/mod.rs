//! The manifests in `packaging/kubernetes`: each follows Kubernetes' schemas, and its containers run here with the real
//! kubectl and a small API server.

mod api_server;
mod kubelet;
pub mod manifests;
mod pages;
mod pod;
mod pull_secret;
mod sidecar;
