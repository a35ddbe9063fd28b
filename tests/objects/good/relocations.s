# Every common relocation, each to the number 3 or to code that returns 3. Returns 9 * 3 = 27.
        .text
        .globl  playground
        .type   playground, @function
playground:
        xorl    %eax, %eax
        addl    three(%rip), %eax                       # R_X86_64_PC32
        addl    three, %eax                             # R_X86_64_32S
        movl    $three, %ecx                            # R_X86_64_32
        addl    (%rcx), %eax
        movq    address(%rip), %rcx                     # R_X86_64_64, in .data
        addl    (%rcx), %eax
        leaq    distance(%rip), %rcx                    # R_X86_64_PC64, in .data
        addq    (%rcx), %rcx
        addl    (%rcx), %eax
        movl    %eax, %edx
        call    give_three@PLT                          # R_X86_64_PLT32
        addl    %eax, %edx
        call    *give_three@GOTPCREL(%rip)              # R_X86_64_GOTPCRELX
        addl    %eax, %edx
        movq    three@GOTPCREL(%rip), %rcx              # R_X86_64_REX_GOTPCRELX
        addl    (%rcx), %edx
        pushq   three@GOTPCREL(%rip)                    # R_X86_64_GOTPCREL, there being no relaxed push
        popq    %rcx
        addl    (%rcx), %edx
        movl    %edx, %eax
        ret
        .size   playground, . - playground

        .globl  give_three
        .type   give_three, @function
give_three:
        movl    $3, %eax
        ret
        .size   give_three, . - give_three

        .section .rodata
        .globl  three
        .p2align 2
three:  .long   3

        .data
        .p2align 3
address:
        .quad   three
distance:
        .quad   three - .

        .section .note.GNU-stack, "", @progbits
