;; It is a command: it exports _start.
(module (memory (export "memory") 1) (func (export "_start")))
