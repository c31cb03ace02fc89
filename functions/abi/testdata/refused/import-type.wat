;; It imports a function of tiercel_v1 as another type.
(module (import "tiercel_v1" "input" (func (param i32))) (memory (export "memory") 1) (func (export "tiercel_handle") (param i32) (result i32) (i32.const 0)))
