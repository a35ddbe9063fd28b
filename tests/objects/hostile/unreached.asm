; Holds a privileged instruction and a system call, and comes to neither.
        bits    64
        section .text
        global  playground
playground:
        test    rdi, rdi
        jnz     .end
        hlt
        syscall
.end:
        ret
