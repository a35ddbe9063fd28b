// Calls a function that nobody brings.
int puts(const char *text);

void playground(unsigned long iterations) {
    (void)iterations;
    puts("hello");
}
