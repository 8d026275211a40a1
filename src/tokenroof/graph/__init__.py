"""Work before time: a model, a sharding and a batch become operators that know no chip."""
