/* What is told of containers when listings, events and inspections go wrong, or come in an unlucky order. */
#include "scripted_engine.h"

static void a_listing_begins_before_the_engine_is_asked_for_it(void **state)
{
    struct scripted_engine *engine = *state;

    engine->list_fails = 500;
    begin_watch(engine);
    must_tell(engine, "begin\nunreachable");
    must_not_have_told(engine, "end\n");
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, scripted_engine_begin, scripted_engine_end)
    const struct CMUnitTest tests[] = {
        CASE(a_listing_begins_before_the_engine_is_asked_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
