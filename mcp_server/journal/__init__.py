"""The journal of submissions: what keeps a paid job from being lost or paid for twice."""
