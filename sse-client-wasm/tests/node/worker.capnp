using Workerd = import "/workerd/workerd.capnp";

# The worker, and the package as its `exports` say for workerd.
const config :Workerd.Config = (
  services = [
    ( name = "main",
      worker = (
        modules = [
          ( name = "worker.mjs", esModule = embed "worker.mjs" ),
          ( name = "sse-client-wasm", esModule = embed "node_modules/sse-client-wasm/workerd.js" ),
          ( name = "sse-client.wasm", wasm = embed "node_modules/sse-client-wasm/sse-client.wasm" ),
        ],
        compatibilityDate = "2025-01-01",
        globalOutbound = "local",
      ),
    ),
    ( name = "local", network = ( allow = ["private", "local"] ) ),
  ],
  sockets = [ ( name = "http", http = (), service = "main" ) ],
);
