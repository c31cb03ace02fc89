;; tiercel_handle has another type.
(module (memory (export "memory") 1) (func (export "tiercel_handle") (param i64) (result i32) (i32.const 0)))
