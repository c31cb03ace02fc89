;; It imports a function that tiercel_v1 does not have.
(module (import "tiercel_v1" "exec" (func)) (memory (export "memory") 1) (func (export "tiercel_handle") (param i32) (result i32) (i32.const 0)))
