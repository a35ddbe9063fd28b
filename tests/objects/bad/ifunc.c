// An indirect function: to learn which function it stands for, the loader would have to run code of the object.
static void one(unsigned long iterations) {
    (void)iterations;
}

static void (*choose(void))(unsigned long) {
    return one;
}

void playground(unsigned long iterations) __attribute__((ifunc("choose")));
