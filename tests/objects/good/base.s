# One of each thing a loader meets: two sections of text, read-only data, writable data that holds an address, zeroed
# data, and relocations between them. `bad/make.py` spoils copies of it. Returns 7 + 8 + 9 = 24.
        .text
        .globl  playground
        .type   playground, @function
playground:
        movl    seven(%rip), %eax
        addl    $8, %eax
        movl    %eax, zeroed(%rip)
        call    nine
        addl    zeroed(%rip), %eax
        ret
        .size   playground, . - playground

        .section .text.nine, "ax", @progbits
        .type   nine, @function
nine:
        movq    address(%rip), %rax
        movl    (%rax), %eax
        addl    $2, %eax
        ret
        .size   nine, . - nine

        .section .rodata
        .p2align 2
seven:  .long   7

        .data
        .p2align 3
address:
        .quad   seven

        .bss
        .p2align 2
zeroed: .zero   4

        .section .note.GNU-stack, "", @progbits
