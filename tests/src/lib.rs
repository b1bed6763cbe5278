//! The outside view of P92: the shape of the house, and the whole node through its public doors.
