; Pushes with rsp in its own text.
        bits    64
        section .text
        global  playground
playground:
        lea     rsp, [rel .end]
        push    rax
        ret
.end:
