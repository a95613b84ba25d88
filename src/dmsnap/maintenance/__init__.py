"""Care for a store: check, repair, dump, restore, compact and compare, all of them by streams of events."""
