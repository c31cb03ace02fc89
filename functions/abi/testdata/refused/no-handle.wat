;; It does not export tiercel_handle.
(module (memory (export "memory") 1))
