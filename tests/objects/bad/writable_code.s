# A section that is both writable and executable.
        .section .both, "awx", @progbits
        .globl  playground
        .type   playground, @function
playground:
        ret
