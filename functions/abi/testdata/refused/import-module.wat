;; It imports from a module other than tiercel_v1 and wasi_snapshot_preview1.
(module (import "env" "abort" (func)) (memory (export "memory") 1) (func (export "tiercel_handle") (param i32) (result i32) (i32.const 0)))
