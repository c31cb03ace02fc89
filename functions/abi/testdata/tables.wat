;; tables changes its table while it handles an event: a host that keeps an instance for the next one must not let it see that. The
;; status is 1 if it does.
(module
  (memory (export "memory") 1)
  (table 2 funcref)
  (elem (i32.const 0) $fresh)
  (type $status (func (result i32)))
  (func $fresh (result i32) (i32.const 0))
  (func $stale (result i32) (i32.const 1))
  (elem declare func $stale)
  (func (export "tiercel_handle") (param i32) (result i32)
    (call_indirect (type $status) (i32.const 0))
    (table.set 0 (i32.const 0) (ref.func $stale))))
