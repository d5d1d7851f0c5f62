/*
 * The rules of the model and those of the program, compared for each view: rules.pml against
 * fs/publish/next.c and fs/publish/doubt_next.c, which are linked in. A view on which they differ is
 * printed, and fails the run.
 *
 * Bounds: doubt_next() and doubt_infers() for each combination of all their inputs, times reduced to
 * the three comparisons they take part in. publish_next() for each combination of the inputs that
 * its rules for the phase read, with the others by chance; and for each combination of what the
 * syncing reads, with the others by chance. Should a rule come to read another input, the chance
 * finds it.
 */
#include "rules.pml"

c_decl {
\#include "tests/model/table.h"
}

int view, views;
byte kind, same;

init {
	d_step {
		c_code { now.same = table_names(); };
		assert(same);
		do
		:: kind < 4 ->
			c_code { now.views = table_views(now.kind); };
			view = 0;
			do
			:: view < views ->
				c_code { TABLE_SET(now.kind, now.view); };
				if
				:: kind == 0 ->
					doubt_next();
					c_code { now.same = table_doubt(now.view, d_next); };
					assert(same);
					c_code { TABLE_SET(now.kind, now.view); };
					doubt_infers();
					c_code { now.same = table_infers(now.view, d_infers); }
				:: else ->
					publish_next();
					c_code { now.same = table_next(v_action); }
				fi;
				assert(same);
				view++
			:: else -> break
			od;
			kind++
		:: else -> break
		od;
		c_code { table_told(); }
	}
}
