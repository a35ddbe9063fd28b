; Copies a vector of unit stride by one repeated string instruction: rdi elements from rsi to rcx.
        bits    64
        section .text
        global  scopy:function
scopy:
        xchg    rcx, rdi
        rep movsd
        ret
