// A constructor, which a loader would have to run before the function.
static unsigned long value;

__attribute__((constructor)) static void prepare(void) {
    value = 1;
}

unsigned long playground(unsigned long iterations) {
    (void)iterations;
    return value;
}
