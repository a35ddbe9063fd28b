; LENGTH dependent INSTRUCTIONs and a return: a function whose cycles are known on every core (one each for add, three for imul).
; rdx is whatever the caller left, which changes no timing. The argument is ignored.
%ifndef INSTRUCTION
%define INSTRUCTION add
%endif

        bits    64
        section .text
        global  playground
playground:
        times LENGTH INSTRUCTION rax, rdx
        ret
