; Returns with the alignment-check flag set.
        bits    64
        section .text
        global  playground
playground:
        pushfq
        or      qword [rsp], 1 << 18
        popfq
        ret
