mod loghub;
